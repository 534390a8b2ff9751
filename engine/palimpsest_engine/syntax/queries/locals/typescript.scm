; inherits: ecma
[(function_signature) (method_signature) (abstract_method_signature) (construct_signature) (call_signature)
 (function_type) (constructor_type)] @scope.function
[(interface_declaration) (type_alias_declaration) (class_declaration) (abstract_class_declaration)] @scope
[(conditional_type) (mapped_type_clause)] @scope
(interface_body) @scope.members
(enum_body) @scope.members
(internal_module body: (_) @scope)

(type_identifier) @reference
(type_parameter name: (type_identifier) @definition.class)
(mapped_type_clause name: (type_identifier) @definition.class)
(infer_type (type_identifier) @definition.class)
(class_declaration name: (type_identifier) @definition.class) @item
(abstract_class_declaration name: (type_identifier) @definition.class) @item
(interface_declaration name: (type_identifier) @definition.class) @item
(type_alias_declaration name: (type_identifier) @definition.class) @item
(enum_declaration name: (identifier) @definition.class) @item
(function_signature name: (identifier) @definition.function) @item
(internal_module name: (identifier) @definition.class) @item
(required_parameter pattern: (identifier) @definition.parameter)
(required_parameter pattern: (_) @binding.parameter)
(optional_parameter pattern: (identifier) @definition.parameter)
(optional_parameter pattern: (_) @binding.parameter)
((required_parameter (accessibility_modifier)) @unsure)
(required_parameter pattern: (this)) @skip
(index_signature name: (identifier) @skip)
(type_predicate name: (identifier) @reference.plain)

(public_field_definition name: [(property_identifier) (private_property_identifier)] @definition.property)
(property_signature name: (property_identifier) @definition.property)
(method_signature name: (property_identifier) @definition.method)
(abstract_method_signature name: (property_identifier) @definition.method)
(enum_body name: (property_identifier) @definition.property)
(enum_assignment name: (property_identifier) @definition.property)
(nested_type_identifier name: (type_identifier) @skip)
