(impl_item type: [(type_identifier) @type (generic_type type: (type_identifier) @type)] body: (_) @home)
(trait_item name: (type_identifier) @type body: (_) @home)
(enum_item name: (type_identifier) @type body: (_) @home)

(struct_item name: (type_identifier) @type body: (field_declaration_list (field_declaration name: (field_identifier) @definition.field)))
(enum_item name: (type_identifier) @type body: (enum_variant_list (enum_variant name: (identifier) @definition.variant)))
(impl_item !trait body: (declaration_list (function_item name: (identifier) @definition.method)))
(impl_item trait: (_) body: (declaration_list (function_item name: (identifier) @foreign.method)))
(trait_item body: (declaration_list (function_item name: (identifier) @foreign.method)))
(trait_item body: (declaration_list (function_signature_item name: (identifier) @foreign.method)))
(union_item body: (field_declaration_list (field_declaration name: (field_identifier) @foreign.field)))

(call_expression function: (field_expression field: (field_identifier) @method))
(field_expression value: (self) field: (field_identifier) @self.field)
(field_expression value: (_) @object field: (field_identifier) @use.field)
(scoped_identifier path: [(identifier) @type (generic_type type: (type_identifier) @type)] name: (identifier) @use.path)
(scoped_type_identifier path: (identifier) @type name: (type_identifier) @use.path)
(struct_expression name: [(type_identifier) @type (generic_type type: (type_identifier) @type)]
  body: (field_initializer_list (field_initializer field: (field_identifier) @use.field)))
(struct_expression name: [(type_identifier) @type (generic_type type: (type_identifier) @type)]
  body: (field_initializer_list (shorthand_field_initializer (identifier) @use.field @shorthand)))
(struct_pattern type: (type_identifier) @type (field_pattern name: (field_identifier) @use.field))
(struct_pattern type: (type_identifier) @type (field_pattern . name: (shorthand_field_identifier) @use.field @shorthand))

(token_tree (self) . "." . (identifier) @self)
(token_tree (identifier) @type . "::" . (identifier) @use.path)
