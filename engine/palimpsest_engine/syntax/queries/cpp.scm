(comment) @comment
[(string_literal) (raw_string_literal) (char_literal)] @string
(ERROR ["\"" "'"] @quote)

(preproc_include path: (string_literal) @import)

(function_definition declarator: (function_declarator declarator: (_) @name) body: (_) @body) @function
(function_definition declarator: (_ declarator: (function_declarator declarator: (_) @name)) body: (_) @body) @function
(function_definition declarator: (_ (function_declarator declarator: (_) @name)) body: (_) @body) @function
(lambda_expression body: (_) @body) @closure
(class_specifier name: (_) @name body: (_) @body) @class
(struct_specifier name: (_) @name body: (_) @body) @class
(union_specifier name: (_) @name body: (_)) @type
(enum_specifier name: (_) @name body: (_)) @type
(declaration declarator: (function_declarator declarator: (_) @name)) @type
(declaration declarator: (_ declarator: (function_declarator declarator: (_) @name))) @type
(field_declaration declarator: (function_declarator declarator: (_) @name)) @type
(field_declaration declarator: (_ declarator: (function_declarator declarator: (_) @name))) @type
(type_definition declarator: (type_identifier) @name) @type
(alias_declaration name: (_) @name) @type
(concept_definition name: (_) @name) @type
(preproc_function_def name: (_) @name) @type

(throw_statement) @claim
((expression_statement (call_expression function: (identifier) @_call)) @claim
  (#match? @_call "^(assert|abort|panic|die|error)$"))
((expression_statement (call_expression function: (identifier) @_call)) @hole
  (#any-of? @_call "TODO" "UNIMPLEMENTED" "NOT_IMPLEMENTED"))

(function_definition (field_initializer_list)) @keep
(function_definition declarator: (function_declarator declarator: (destructor_name))) @keep
(function_definition
  declarator: (function_declarator declarator: (qualified_identifier name: (destructor_name)))) @keep
(function_definition !type declarator: (function_declarator parameters: (parameter_list . "(" . ")"))) @keep
