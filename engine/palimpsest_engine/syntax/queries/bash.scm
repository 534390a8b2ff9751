(comment) @comment
[(string) (raw_string) (ansi_c_string) (heredoc_body)] @string
[(command_substitution) (expansion) (process_substitution)] @code
(ERROR "\"" @quote)

((command name: (command_name) @_load . argument: (_) @import) (#any-of? @_load "source" "."))

(function_definition name: (_) @name body: (compound_statement) @body) @function

((command name: (command_name) @_null !argument) @stub (#eq? @_null ":"))
