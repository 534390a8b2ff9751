(comment) @comment
[(string_literal) (verbatim_string_literal) (raw_string_literal) (interpolated_string_expression) (character_literal)] @string
(interpolation) @code
(ERROR ["\"" "'"] @quote)

(using_directive [(qualified_name) (identifier)] @import .)

(method_declaration name: (_) @name body: (_) @body) @function
(method_declaration name: (_) @name parameters: (_) . ";") @type
(local_function_statement name: (_) @name body: (_) @body) @function
(constructor_declaration name: (_) @name body: (_) @body) @function
(destructor_declaration name: (_) @name body: (_) @body) @closure
(accessor_declaration body: (_) @body) @closure
(lambda_expression body: (block) @body) @closure
(class_declaration name: (_) @name body: (_) @body) @class
(interface_declaration name: (_) @name body: (_) @body) @class
(struct_declaration name: (_) @name body: (_) @body) @class
(record_declaration name: (_) @name body: (_) @body) @class
(record_declaration name: (_) @name . (parameter_list) . ";") @type
(enum_declaration name: (_) @name) @type
(delegate_declaration name: (_) @name) @type

[(throw_statement) (throw_expression)] @claim
([(throw_statement (object_creation_expression type: (_) @_error))
  (throw_expression (object_creation_expression type: (_) @_error))] @hole
  (#match? @_error "^(System\\.)?NotImplementedException$"))

(constructor_declaration (constructor_initializer)) @keep
(constructor_declaration parameters: (parameter_list . "(" . ")")) @keep
