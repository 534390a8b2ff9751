[(comment) (block_comment)] @comment
[(string) (interpolated_string) (character_literal)] @string
(interpolation) @code
(ERROR ["\"" "\"\"\""] @quote)

(import_declaration) @import

(function_definition name: (_) @name body: (_) @body) @function
(function_declaration name: (_) @name) @type
(class_definition name: (_) @name body: (_) @body) @class
(class_definition name: (_) @name !body) @type
(object_definition name: (_) @name body: (_) @body) @class
(trait_definition name: (_) @name body: (_) @body) @class
(enum_definition name: (_) @name body: (_) @body) @class
(type_definition name: (_) @name) @type

((operator_identifier) @hole (#eq? @hole "???"))
(throw_expression) @claim
((throw_expression (instance_expression (type_identifier) @_error)) @hole (#eq? @_error "NotImplementedError"))
