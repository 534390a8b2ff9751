(comment) @comment
[(string) (encapsed_string) (heredoc_body) (nowdoc_body)] @string
(ERROR ["\"" "'"] @quote)

(namespace_use_declaration (namespace_use_clause . [(qualified_name) (name)] @import))
(namespace_use_declaration (namespace_name) @import)
(include_expression (string) @import)
(include_once_expression (string) @import)
(require_expression (string) @import)
(require_once_expression (string) @import)

(function_definition name: (_) @name body: (_) @body) @function
(method_declaration name: (_) @name body: (_) @body) @function
(method_declaration name: (_) @name !body) @type
(anonymous_function body: (_) @body) @closure
(class_declaration name: (_) @name body: (_) @body) @class
(interface_declaration name: (_) @name body: (_) @body) @class
(trait_declaration name: (_) @name body: (_) @body) @class
(enum_declaration name: (_) @name body: (_) @body) @class

((expression_statement (throw_expression)) @claim)

((method_declaration name: (_) @_name parameters: (formal_parameters (property_promotion_parameter))) @keep
  (#eq? @_name "__construct"))
((method_declaration name: (_) @_name parameters: (formal_parameters . "(" . ")")) @keep
  (#eq? @_name "__construct"))
