[(comment) (marginalia)] @comment
((literal) @string (#match? @string "^[eEnNbBxX]?'"))

(create_table (object_reference) @name) @type
(create_view (object_reference) @name) @type
(create_function (object_reference) @name (function_body) @body) @closure
