[(line_comment) (block_comment)] @comment
[(string_literal) (multiline_string_literal) (character_literal)] @string
(interpolation) @code
(ERROR ["\"" "\"\"\""] @quote)

(import (qualified_identifier) @import)

(function_declaration name: (_) @name (function_body (block) @body)) @function
(function_declaration name: (_) @name (function_body "=" @open (_) @body)) @function
(function_declaration name: (_) @name (function_value_parameters) .) @type
(secondary_constructor (block) @body) @closure
(anonymous_initializer (block) @body) @closure
(class_declaration name: (_) @name [(class_body) (enum_class_body)] @body) @class
(class_declaration name: (_) @name (primary_constructor) .) @type
(object_declaration name: (_) @name (class_body) @body) @class
(type_alias type: (_) @name) @type

((call_expression . (identifier) @_todo) @hole (#eq? @_todo "TODO"))
(throw_expression) @claim
((throw_expression (call_expression . (identifier) @_error)) @hole (#eq? @_error "NotImplementedError"))
