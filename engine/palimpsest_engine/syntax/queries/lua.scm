(comment) @comment
(string) @string
(ERROR ["\"" "'"] @quote)

((function_call name: (identifier) @_load arguments: (arguments . (string) @import)) (#match? @_load "^(require|dofile)$"))
((function_call name: (identifier) @_load arguments: (arguments "(" . (string) @import)) (#match? @_load "^(require|dofile)$"))

(function_declaration name: (_) @name parameters: (_) @head "end" @close) @function
(function_definition parameters: (_) @head "end" @close) @closure
(assignment_statement
  (variable_list . name: (_) @name .)
  (expression_list . value: (function_definition parameters: (_) @head "end" @close) .)) @function

((function_call name: (identifier) @_error) @claim (#eq? @_error "error"))
