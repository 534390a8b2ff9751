[(method_declaration) (constructor_declaration) (local_function_statement) (lambda_expression) (anonymous_method_expression)
 (accessor_declaration) (operator_declaration) (indexer_declaration) (delegate_declaration)] @scope.function
[(block) (for_statement) (foreach_statement) (catch_clause) (using_statement) (fixed_statement) (switch_section)
 (switch_expression_arm) (declaration_list)] @scope

(identifier) @reference
(using_directive) @unsure
(query_expression) @unsure
(attribute_list) @unsure
(qualified_name (identifier) @skip)
(member_access_expression name: (identifier) @skip)
(member_binding_expression name: (identifier) @skip)
(argument name: (identifier) @skip)
(initializer_expression (assignment_expression left: (identifier) @skip))
(with_initializer (identifier) @skip)
(anonymous_object_creation_expression (identifier) @unsure)
(method_declaration name: (identifier) @skip)
(local_function_statement name: (identifier) @skip)
(property_declaration name: (identifier) @skip)
(class_declaration (parameter_list) @unsure)
(record_declaration (parameter_list) @unsure)
(struct_declaration (parameter_list) @unsure)
(parameter name: (identifier) @definition.parameter)
(implicit_parameter) @definition.parameter
(variable_declarator name: (identifier) @definition.variable)
(foreach_statement left: (identifier) @definition.variable)
(declaration_pattern name: (identifier) @definition.variable)
(declaration_expression name: (identifier) @definition.variable)
(catch_declaration name: (identifier) @definition.variable)
(comment) @text
