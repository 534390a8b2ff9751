[(method_declaration) (constructor_declaration) (lambda_expression) (compact_constructor_declaration)] @scope.function
[(block) (constructor_body) (for_statement) (enhanced_for_statement) (try_with_resources_statement) (catch_clause)
 (switch_block) (class_body) (enum_body) (interface_body) (annotation_type_body) (class_declaration) (interface_declaration)
 (record_declaration)] @scope

[(identifier) (type_identifier)] @reference
(package_declaration) @unsure
(import_declaration) @unsure
(annotation name: (_) @skip)
(element_value_pair key: (identifier) @skip)
(labeled_statement . (identifier) @skip)
(break_statement (identifier) @skip)
(continue_statement (identifier) @skip)
(scoped_type_identifier (type_identifier) @unsure)
(method_invocation name: (identifier) @skip)
(method_reference (_) (identifier) @skip)
(field_access object: (_) @object field: (identifier) @member)
(field_access object: (this) @object field: (identifier) @member.self)
(method_invocation object: (_) @object name: (identifier) @member)
(class_declaration name: (identifier) @definition.class) @item
(interface_declaration name: (identifier) @definition.class) @item
(enum_declaration name: (identifier) @definition.class) @item
(record_declaration name: (identifier) @definition.class) @item
(annotation_type_declaration name: (identifier) @definition.class) @item
(type_parameter (type_identifier) @definition.parameter)
(method_declaration name: (identifier) @definition.method)
(constructor_declaration name: (identifier) @reference.plain)
(enum_constant name: (identifier) @definition.property)
(constant_declaration declarator: (variable_declarator name: (identifier) @definition.field))
(field_declaration declarator: (variable_declarator name: (identifier) @definition.field))
(record_declaration (formal_parameters (formal_parameter name: (identifier) @unsure)))
(formal_parameter name: (identifier) @definition.parameter)
(spread_parameter (variable_declarator name: (identifier) @definition.parameter))
(catch_formal_parameter name: (identifier) @definition.parameter)
(lambda_expression parameters: (identifier) @definition.parameter)
(inferred_parameters (identifier) @definition.parameter)
(local_variable_declaration declarator: (variable_declarator name: (identifier) @definition.variable)) @after
(enhanced_for_statement name: (identifier) @definition.variable)
(resource name: (identifier) @definition.variable)
(instanceof_expression name: (identifier) @definition.variable)
(type_pattern (identifier) @definition.variable)
(record_pattern_component (identifier) @definition.variable)
[(line_comment) (block_comment)] @text
