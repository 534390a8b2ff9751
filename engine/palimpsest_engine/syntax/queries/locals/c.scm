(function_definition) @scope.function
[(compound_statement) (for_statement)] @scope
(declaration declarator: (function_declarator (parameter_list) @scope))
(declaration declarator: (pointer_declarator (function_declarator (parameter_list) @scope)))
(parameter_declaration declarator: (function_declarator (parameter_list) @scope))
(field_declaration declarator: (function_declarator (parameter_list) @scope))
(type_definition declarator: (function_declarator (parameter_list) @scope))

[(identifier) (type_identifier)] @reference
(field_identifier) @skip
(statement_identifier) @skip
(preproc_def name: (identifier) @definition.constant)
(preproc_function_def name: (identifier) @definition.constant)
(preproc_function_def (preproc_params (identifier) @unsure))
(declaration declarator: (identifier) @definition.variable)
(declaration declarator: (_) @binding.variable)
(parameter_declaration declarator: (identifier) @definition.parameter)
(parameter_declaration declarator: (_) @binding.parameter)
(pointer_declarator declarator: (identifier) @target)
(array_declarator declarator: (identifier) @target)
(init_declarator declarator: (identifier) @target)
(parenthesized_declarator (identifier) @target)
(function_definition declarator: (function_declarator declarator: (identifier) @definition.function)) @item
(function_definition declarator: (pointer_declarator (function_declarator declarator: (identifier) @definition.function))) @item
(function_definition declarator: (pointer_declarator (pointer_declarator (function_declarator declarator: (identifier) @definition.function)))) @item
(declaration declarator: (function_declarator declarator: (identifier) @definition.function)) @item
(declaration declarator: (pointer_declarator (function_declarator declarator: (identifier) @definition.function))) @item
(type_definition declarator: (type_identifier) @definition.class)
(enumerator name: (identifier) @definition.constant)
(struct_specifier name: (type_identifier) @unsure)
(union_specifier name: (type_identifier) @unsure)
(enum_specifier name: (type_identifier) @unsure)
(field_declaration declarator: (field_identifier) @definition.property)
(field_expression argument: (_) @object field: (field_identifier) @member)
(comment) @text
