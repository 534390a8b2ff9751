(struct_specifier name: (type_identifier) @type body: (_) @home)
(union_specifier name: (type_identifier) @type body: (_) @home)
(type_definition type: (struct_specifier !name body: (_) @home) declarator: (type_identifier) @type)
(type_definition type: (union_specifier !name body: (_) @home) declarator: (type_identifier) @type)
(type_definition type: (struct_specifier name: (_) @type body: (_) @home) declarator: (type_identifier) @alias)

(field_declaration declarator: (field_identifier) @definition)
(field_declaration declarator: (array_declarator declarator: (field_identifier) @definition))
(field_declaration declarator: (pointer_declarator declarator: (field_identifier) @definition))
(field_declaration declarator: (pointer_declarator declarator: (pointer_declarator declarator: (field_identifier) @definition)))
(field_declaration declarator: (function_declarator
  declarator: (parenthesized_declarator (pointer_declarator declarator: (field_identifier) @definition))))

(field_expression argument: (_) @object field: (field_identifier) @use)
(declaration type: (struct_specifier name: (type_identifier) @type)
  declarator: (init_declarator value: (initializer_list (initializer_pair designator: (field_designator (field_identifier) @use)))))
(declaration type: (type_identifier) @type
  declarator: (init_declarator value: (initializer_list (initializer_pair designator: (field_designator (field_identifier) @use)))))
(compound_literal_expression type: (type_descriptor type: [(type_identifier) @type (struct_specifier name: (type_identifier) @type)])
  value: (initializer_list (initializer_pair designator: (field_designator (field_identifier) @use))))
(field_designator (field_identifier) @use)
