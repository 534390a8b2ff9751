[(line_comment) (block_comment)] @comment
[(string_literal) (character_literal)] @string
(string_interpolation) @code
(ERROR ["\"" "\"\"\""] @quote)

(import_declaration [(scoped_identifier) (identifier)] @import)

(method_declaration name: (_) @name body: (_) @body) @function
(method_declaration name: (_) @name . (formal_parameters) . ";") @type
(constructor_declaration name: (_) @name body: (_) @body) @function
(compact_constructor_declaration name: (_) @name body: (_) @body) @closure
(lambda_expression body: (block) @body) @closure
(class_declaration name: (_) @name body: (_) @body) @class
(interface_declaration name: (_) @name body: (_) @body) @class
(enum_declaration name: (_) @name body: (_) @body) @class
(record_declaration name: (_) @name body: (_) @body) @class
(annotation_type_declaration name: (_) @name body: (_) @body) @class

(throw_statement) @claim
((throw_statement (object_creation_expression type: (_) @_error arguments: (argument_list . "(" . ")"))) @hole
  (#eq? @_error "UnsupportedOperationException"))

(constructor_declaration parameters: (formal_parameters . "(" . ")")) @keep
