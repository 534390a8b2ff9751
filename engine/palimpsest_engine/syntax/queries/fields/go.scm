(method_declaration receiver: (parameter_list (parameter_declaration name: (identifier)? @receiver type: [(type_identifier) @type
  (pointer_type (type_identifier) @type) (generic_type type: (type_identifier) @type)
  (pointer_type (generic_type type: (type_identifier) @type))]))) @home

(type_spec name: (type_identifier) @type type: (struct_type (field_declaration_list (field_declaration name: (field_identifier) @definition))))
(method_declaration name: (field_identifier) @definition)
(method_elem name: (field_identifier) @foreign)

(selector_expression operand: (_) @object field: (field_identifier) @use)
(composite_literal type: [(type_identifier) @type (generic_type type: (type_identifier) @type)]
  body: (literal_value (keyed_element key: (literal_element (identifier) @use))))
(composite_literal type: [(slice_type element: (type_identifier) @type) (array_type element: (type_identifier) @type)
  (map_type value: (type_identifier) @type)]
  body: (literal_value (literal_element (literal_value (keyed_element key: (literal_element (identifier) @use))))))
(composite_literal type: (map_type value: (type_identifier) @type)
  body: (literal_value (keyed_element value: (literal_element (literal_value (keyed_element key: (literal_element (identifier) @use)))))))
