[(function_declaration) (function_expression) (generator_function) (generator_function_declaration) (arrow_function)
 (method_definition)] @scope.function
[(function_expression) (generator_function) (function_declaration) (generator_function_declaration)] @boundary
[(statement_block) (for_statement) (for_in_statement) (switch_body) (catch_clause) (class_static_block)] @scope
(class_body) @scope.members
(class) @scope

[(identifier) (shorthand_property_identifier)] @reference
(shorthand_property_identifier) @shorthand
(shorthand_property_identifier_pattern) @shorthand
(property_identifier) @skip
(private_property_identifier) @skip
(statement_identifier) @skip

(function_declaration name: (identifier) @definition.function) @item
(generator_function_declaration name: (identifier) @definition.function) @item
(function_expression name: (identifier) @definition.variable)
(class name: (_) @definition.variable)
(variable_declaration (variable_declarator name: (identifier) @definition.var))
(variable_declaration (variable_declarator name: (_) @binding.var))
(lexical_declaration (variable_declarator name: (identifier) @definition.variable))
(lexical_declaration (variable_declarator name: (_) @binding.variable))
(arrow_function parameter: (identifier) @definition.parameter)
(catch_clause parameter: (identifier) @definition.parameter)
(catch_clause parameter: (_) @binding.parameter)
(for_in_statement kind: "var" left: (identifier) @definition.var)
(for_in_statement kind: "var" left: (_) @binding.var)
(for_in_statement kind: ["let" "const"] left: (identifier) @definition.variable)
(for_in_statement kind: ["let" "const"] left: (_) @binding.variable)
(array_pattern (identifier) @target)
(rest_pattern (identifier) @target)
(assignment_pattern left: (identifier) @target)
(pair_pattern value: (identifier) @target)
(object_pattern (shorthand_property_identifier_pattern) @target)
(object_assignment_pattern left: (shorthand_property_identifier_pattern) @target)

(import_clause (identifier) @definition.import)
(namespace_import (identifier) @definition.import)
(import_statement (import_clause (named_imports (import_specifier !alias name: (identifier) @definition.import))) source: (_) @module) @import
(import_statement (import_clause (named_imports (import_specifier name: (identifier) @imported alias: (identifier)))) source: (_) @module) @import
(import_specifier alias: (identifier) @definition.import)
(export_specifier alias: (identifier) @skip)
(export_statement (export_clause (export_specifier name: (identifier) @imported)) source: (_) @module)

(method_definition name: (property_identifier) @definition.method)
(method_definition name: (private_property_identifier) @definition.method)
(member_expression object: (_) @object property: [(property_identifier) (private_property_identifier)] @member)
(member_expression object: (this) property: [(property_identifier) (private_property_identifier)] @member.self)
(comment) @text
[(string_fragment)] @text
