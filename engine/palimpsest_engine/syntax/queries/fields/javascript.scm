(class_declaration name: (identifier) @type body: (_) @home)
(class body: (_) @home)

(class_body (field_definition property: [(property_identifier) (private_property_identifier)] @definition))
(class_body (method_definition name: [(property_identifier) (private_property_identifier)] @definition))
(object (method_definition name: (property_identifier) @foreign))
(object (pair key: (property_identifier) @foreign))
(object (shorthand_property_identifier) @foreign)

(member_expression object: (_) @object property: (property_identifier) @use)
(member_expression object: (identifier) @type property: (property_identifier) @use)
(member_expression object: [(identifier) (member_expression) (call_expression)]
  property: (private_property_identifier) @self)
(binary_expression left: (private_property_identifier) @self)
