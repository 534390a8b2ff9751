(class_definition name: (identifier) @type body: (block) @home)
((decorated_definition (decorator) @decorator
  definition: (class_definition name: (identifier) @type body: (block (expression_statement (assignment left: (identifier) @definition type: (_))))))
  (#match? @decorator "^@(dataclasses\\.dataclass|dataclass|attr\\.define|attrs\\.define|define)\\b"))
((class_definition name: (identifier) @type superclasses: (argument_list . (identifier) @base .)
  body: (block (expression_statement (assignment left: (identifier) @definition type: (_)))))
  (#any-of? @base "NamedTuple" "BaseModel"))
(call function: (identifier) @type arguments: (argument_list (keyword_argument name: (identifier) @use.keyword)))
