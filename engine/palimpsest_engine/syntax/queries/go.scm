(comment) @comment
[(interpreted_string_literal) (raw_string_literal) (rune_literal)] @string
(ERROR ["\"" "`"] @quote)

(import_spec path: (_) @import)

(function_declaration name: (_) @name body: (_) @body) @function
(method_declaration name: (_) @name body: (_) @body) @function
(func_literal body: (_) @body) @closure
(type_declaration "type" . (type_spec name: (_) @name) .) @type
(type_declaration "type" . (type_alias name: (_) @name) .) @type
(type_declaration "(" (type_spec name: (_) @name) @type)
(type_declaration "(" (type_alias name: (_) @name) @type)

((expression_statement (call_expression function: (identifier) @_panic)) @claim (#eq? @_panic "panic"))
