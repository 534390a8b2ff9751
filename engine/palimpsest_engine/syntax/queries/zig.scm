(comment) @comment
[(string) (multiline_string) (character)] @string

((builtin_function (builtin_identifier) @_load (arguments "(" . (string) @import)) (#eq? @_load "@import"))

(function_declaration name: (_) @name body: (_) @body) @function
(function_declaration name: (_) @name !body) @type
(test_declaration (string) @name (block) @body) @function
(variable_declaration "const" . (identifier) @name [(struct_declaration "{" @open "}" @close) (union_declaration "{" @open "}" @close)]) @class
(variable_declaration "const" . (identifier) @name (enum_declaration)) @type

((expression_statement (builtin_function (builtin_identifier) @_panic)) @claim (#eq? @_panic "@panic"))
