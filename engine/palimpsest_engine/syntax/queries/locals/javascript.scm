; inherits: ecma
(class_declaration name: (identifier) @definition.class) @item
(formal_parameters (_) @binding.parameter)
(formal_parameters (identifier) @definition.parameter)
(field_definition property: [(property_identifier) (private_property_identifier)] @definition.property)
((jsx_opening_element name: (identifier) @skip) (#match? @skip "^[a-z]"))
((jsx_closing_element name: (identifier) @skip) (#match? @skip "^[a-z]"))
((jsx_self_closing_element name: (identifier) @skip) (#match? @skip "^[a-z]"))
