(comment) @comment
(string_value) @string

(import_statement (string_value) @import)
(import_statement (call_expression (arguments (string_value) @import)))
