(comment) @comment
[(string) (template_string)] @string
(template_substitution) @code
(ERROR ["\"" "'" "`"] @quote)

(import_statement source: (string) @import)
(export_statement source: (string) @import)
((call_expression function: [(identifier) (import)] @_load arguments: (arguments . (string) @import))
  (#match? @_load "^(require|import)$"))

(function_declaration name: (_) @name body: (_) @body) @function
(generator_function_declaration name: (_) @name body: (_) @body) @function
(method_definition name: (_) @name body: (_) @body) @function
(variable_declarator name: (identifier) @name value: (arrow_function body: (_) @body)) @closure
(variable_declarator name: (identifier) @name value: (function_expression body: (_) @body)) @closure
(arrow_function body: (statement_block) @body) @closure
(function_expression body: (_) @body) @closure
(class_declaration name: (_) @name body: (_) @body) @class
(class body: (_) @body) @class

(throw_statement) @claim

((method_definition name: (_) @_name parameters: (formal_parameters . "(" . ")")) @keep
  (#eq? @_name "constructor"))
