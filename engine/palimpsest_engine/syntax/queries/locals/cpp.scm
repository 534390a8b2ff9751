; inherits: c
[(lambda_expression)] @scope.function
[(for_range_loop) (if_statement) (while_statement) (catch_clause) (template_declaration) (field_declaration_list)] @scope
(namespace_definition body: (declaration_list) @scope)

(class_specifier name: (type_identifier) @unsure)
(enum_specifier ["class" "struct"] body: (_) @unsure)
(using_declaration) @unsure
(namespace_identifier) @skip
(qualified_identifier name: [(identifier) (type_identifier)] @skip)
(optional_parameter_declaration declarator: (identifier) @definition.parameter)
(optional_parameter_declaration declarator: (_) @binding.parameter)
(type_parameter_declaration (type_identifier) @definition.parameter)
(alias_declaration name: (type_identifier) @definition.class)
(for_range_loop declarator: (identifier) @definition.variable)
(for_range_loop declarator: (_) @binding.variable)
(lambda_capture_specifier (_ left: (identifier) @definition.variable))
(reference_declarator (identifier) @target)
(structured_binding_declarator (identifier) @target)
