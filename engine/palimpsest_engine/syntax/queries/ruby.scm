(comment) @comment
[(string) (heredoc_body) (character) (subshell) (chained_string)] @string
(interpolation) @code
(ERROR "\"" @quote)

((call !receiver method: (identifier) @_load arguments: (argument_list . (string) @import))
  (#match? @_load "^(require|require_relative|load)$"))

(method name: (_) @name @head !parameters "end" @close) @function
(method name: (_) @name parameters: (_) @head "end" @close) @function
(method name: (_) @name "=" @open body: (_) @body) @function
(singleton_method name: (_) @name @head !parameters "end" @close) @function
(singleton_method name: (_) @name parameters: (_) @head "end" @close) @function
(class name: (_) @name @head !superclass "end" @close) @class
(class name: (_) @name superclass: (_) @head "end" @close) @class
(module name: (_) @name @head "end" @close) @class

((call !receiver method: (identifier) @_raise arguments: (argument_list . [
    (constant) @_error (call receiver: (constant) @_error)])) @stub
  (#eq? @_raise "raise") (#eq? @_error "NotImplementedError"))
((call !receiver method: (identifier) @_raise) @claim (#any-of? @_raise "raise" "fail"))

((method name: (_) @_name) @keep (#eq? @_name "initialize"))
