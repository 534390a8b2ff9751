; inherits: javascript
(import_require_clause source: (string) @import)

(abstract_class_declaration name: (_) @name body: (_) @body) @class
(internal_module name: (_) @name body: (_) @body) @class
(function_signature name: (_) @name) @type
(method_signature name: (_) @name) @type
(abstract_method_signature name: (_) @name) @type
(interface_declaration name: (_) @name) @type
(type_alias_declaration name: (_) @name) @type
(enum_declaration name: (_) @name) @type

((method_definition name: (_) @_name parameters: (formal_parameters (_ (accessibility_modifier)))) @keep
  (#eq? @_name "constructor"))
