[(function_item) (closure_expression) (function_signature_item)] @scope.function
[(block) (match_arm) (for_expression) (struct_item) (enum_item) (trait_item) (impl_item) (type_item)] @scope
(mod_item body: (declaration_list) @scope)
(if_expression condition: (let_condition)) @scope
(while_expression condition: (let_condition)) @scope
(if_expression condition: (let_chain)) @scope
(while_expression condition: (let_chain)) @scope
(if_expression alternative: (_) @outer)

[(identifier) (type_identifier)] @reference
[(field_identifier) (shorthand_field_identifier)] @skip
(shorthand_field_initializer (identifier) @shorthand)
(label (identifier) @skip)
(scoped_identifier path: (_) name: (identifier) @skip)
(scoped_type_identifier name: (type_identifier) @skip)
(macro_invocation macro: (identifier) @skip)
(macro_definition) @unsure
(attribute_item) @unsure
(token_tree (identifier) @reference.macro)
(token_tree "." . (identifier) @unsure)
(token_tree "::" . (identifier) @unsure)
(token_tree (identifier) @unsure . "=")

(use_declaration argument: (scoped_identifier name: (identifier) @definition.import))
(use_list (identifier) @definition.import)
(use_list (scoped_identifier name: (identifier) @definition.import))
(use_as_clause alias: (identifier) @definition.import)
(use_as_clause path: (identifier) @imported)
(source_file (function_item name: (identifier) @definition.function) @item)
(block (function_item name: (identifier) @definition.function) @item)
(mod_item body: (declaration_list (function_item name: (identifier) @definition.function) @item))
(struct_item name: (type_identifier) @definition.class) @item
(enum_item name: (type_identifier) @definition.class) @item
(trait_item name: (type_identifier) @definition.class) @item
(type_item name: (type_identifier) @definition.class) @item
(mod_item name: (identifier) @definition.class) @item
(const_item name: (identifier) @definition.constant) @item
(static_item name: (identifier) @definition.constant) @item
(type_parameter name: (type_identifier) @definition.parameter)
(const_parameter name: (identifier) @definition.parameter)
(impl_item body: (declaration_list (function_item name: (identifier) @definition.method)))
(trait_item body: (declaration_list (function_item name: (identifier) @definition.method)))
(function_signature_item name: (identifier) @definition.method)
(enum_variant name: (identifier) @definition.property)
(field_declaration name: (field_identifier) @definition.property)

(let_declaration pattern: (identifier) @definition.let) @after
(let_declaration pattern: (_) @binding.let) @after
(parameter pattern: (identifier) @definition.parameter)
(parameter pattern: (_) @binding.parameter)
(closure_parameters (identifier) @definition.parameter)
(closure_parameters (_) @binding.parameter)
(for_expression pattern: (identifier) @definition.variable)
(for_expression pattern: (_) @binding.variable)
(let_condition pattern: (_) @binding.variable)
(match_arm pattern: (match_pattern (_) @binding.variable))
((match_pattern . (identifier) @definition.variable) (#match? @definition.variable "^[a-z_]"))
((or_pattern (identifier) @target) (#match? @target "^[a-z_]"))
(tuple_pattern (identifier) @target)
(tuple_struct_pattern type: (identifier) (identifier) @target)
(tuple_struct_pattern type: (scoped_identifier) (identifier) @target)
(tuple_struct_pattern type: (identifier) @reference.plain)
(slice_pattern (identifier) @target)
(ref_pattern (identifier) @target)
(reference_pattern (identifier) @target)
(mut_pattern (identifier) @target)
(captured_pattern . (identifier) @target)
(field_pattern pattern: (identifier) @target)
(field_pattern name: (shorthand_field_identifier) @target)
(shorthand_field_identifier) @shorthand
(field_expression value: (_) @object field: (field_identifier) @member)
[(line_comment) (block_comment)] @text
