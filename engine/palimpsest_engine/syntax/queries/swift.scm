[(comment) (multiline_comment)] @comment
[(line_string_literal) (multi_line_string_literal) (raw_string_literal)] @string
(interpolated_expression) @code.inner
(ERROR ["\"" "\"\"\""] @quote)

(import_declaration (identifier) @import)

(function_declaration "func" . name: (_) @name body: (_) @body) @function
(init_declaration name: _ @name body: (_) @body) @closure
(deinit_declaration body: (_) @body) @closure
(computed_property "{" @open "}" @close) @closure
(protocol_function_declaration "func" . name: (_) @name) @type
(class_declaration name: (_) @name body: (_) @body) @class
(protocol_declaration name: (_) @name body: (_) @body) @class
(typealias_declaration "typealias" . name: (_) @name) @type

((function_declaration body: (function_body (statements (call_expression . (simple_identifier) @_stop) @stub)))
  (#match? @_stop "^(fatalError|preconditionFailure)$"))
((call_expression . (simple_identifier) @_stop) @claim (#match? @_stop "^(fatalError|preconditionFailure|assertionFailure)$"))
