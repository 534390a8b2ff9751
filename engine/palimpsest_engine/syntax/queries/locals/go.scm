[(function_declaration) (method_declaration) (func_literal)] @scope.function
(type_spec (type_parameter_list)) @scope
[(block) (if_statement) (for_statement) (expression_switch_statement) (type_switch_statement) (expression_case) (default_case)
 (type_case) (communication_case)] @scope

[(identifier) (type_identifier) (package_identifier)] @reference
(field_identifier) @skip
(label_name) @skip
(package_clause (package_identifier) @skip)
(import_spec name: (package_identifier) @definition.import)
(function_declaration name: (identifier) @definition.function) @item
(type_spec name: (type_identifier) @definition.class) @item
(type_alias name: (type_identifier) @definition.class) @item
(type_parameter_declaration name: (identifier) @definition.parameter)
(parameter_declaration name: (identifier) @definition.parameter)
(variadic_parameter_declaration name: (identifier) @definition.parameter)
(method_elem (parameter_list (parameter_declaration name: (identifier) @unsure)))
(function_type (parameter_list (parameter_declaration name: (identifier) @unsure)))
(const_spec name: (identifier) @definition.constant) @after
(var_spec name: (identifier) @definition.constant) @after
(short_var_declaration left: (expression_list (identifier) @definition.variable)) @after
(for_statement (range_clause left: (expression_list (identifier) @definition.variable) ":="))
(type_switch_statement alias: (expression_list (identifier) @definition.variable))
(receive_statement left: (expression_list (identifier) @definition.variable) ":=")
(selector_expression operand: (_) @object field: (field_identifier) @member)
(field_declaration name: (field_identifier) @definition.property)
(keyed_element key: (literal_element (identifier) @unsure))
(qualified_type name: (type_identifier) @skip)
(comment) @text
