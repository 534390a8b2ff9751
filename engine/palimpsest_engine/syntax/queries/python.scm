(comment) @comment
(string) @string
(interpolation) @code
(ERROR [(string_start) (string_end)] @quote)

(import_statement name: (dotted_name) @import)
(import_statement name: (aliased_import name: (dotted_name) @import))
(import_from_statement module_name: (_) @import)

(function_definition name: (_) @name ":" @open body: (_) @body) @function
(class_definition name: (_) @name ":" @open body: (_) @body) @class
(type_alias_statement left: (_) @name) @type

(block . (expression_statement . (string) .) @doc)
(block (expression_statement . (ellipsis) .) @stub)
(block (pass_statement) @stub)
((raise_statement . "raise" . [(identifier) @_error (call function: (identifier) @_error)]) @stub
  (#eq? @_error "NotImplementedError"))

(decorated_definition
  (decorator) @_how (#match? @_how "(^|[^A-Za-z_])(overload|abstractmethod|abstractproperty)$")
  definition: (function_definition) @keep)
((class_definition
  superclasses: (argument_list) @_bases
  body: (block [(function_definition) @keep
                (decorated_definition definition: (function_definition) @keep)]))
  (#match? @_bases "(^|[^A-Za-z_])Protocol($|[^A-Za-z_])"))
