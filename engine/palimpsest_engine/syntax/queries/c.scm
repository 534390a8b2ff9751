(comment) @comment
[(string_literal) (char_literal)] @string
(ERROR ["\"" "'"] @quote)

(preproc_include path: (string_literal) @import)

(function_definition declarator: (function_declarator declarator: (_) @name) body: (_) @body) @function
(function_definition declarator: (_ declarator: (function_declarator declarator: (_) @name)) body: (_) @body) @function
(declaration declarator: (function_declarator declarator: (_) @name)) @type
(declaration declarator: (_ declarator: (function_declarator declarator: (_) @name))) @type
(struct_specifier name: (_) @name body: (_)) @type
(union_specifier name: (_) @name body: (_)) @type
(enum_specifier name: (_) @name body: (_)) @type
(type_definition declarator: (type_identifier) @name) @type
(preproc_function_def name: (_) @name) @type

((expression_statement (call_expression function: (identifier) @_call)) @claim
  (#match? @_call "^(assert|abort|panic|die|error)$"))
((expression_statement (call_expression function: (identifier) @_call)) @hole
  (#any-of? @_call "TODO" "UNIMPLEMENTED" "NOT_IMPLEMENTED"))
