[(lambda) (function_definition)] @scope.function
[(list_comprehension) (set_comprehension) (dictionary_comprehension) (generator_expression)] @scope.inline
(class_definition body: (block) @scope.class) @scope.head
(class_definition superclasses: (_) @outer)

(identifier) @reference

(function_definition name: (identifier) @definition.function) @item
(class_definition name: (identifier) @definition.class) @item
(type_alias_statement left: (type (identifier) @definition.class))
(function_definition return_type: (_) @outer)
(typed_parameter type: (_) @outer)
(typed_default_parameter type: (_) @outer)
(typed_default_parameter value: (_) @outer)
(default_parameter value: (_) @outer)
(list_comprehension body: (_) . (for_in_clause right: (_) @outer))
(set_comprehension body: (_) . (for_in_clause right: (_) @outer))
(dictionary_comprehension body: (_) . (for_in_clause right: (_) @outer))
(generator_expression body: (_) . (for_in_clause right: (_) @outer))

(parameters (identifier) @definition.parameter)
(parameters [(list_splat_pattern (identifier) @definition.parameter) (dictionary_splat_pattern (identifier) @definition.parameter)])
(typed_parameter . (identifier) @definition.parameter)
(typed_parameter . (_ (identifier) @definition.parameter) type: (_))
(lambda_parameters (identifier) @definition.parameter)
(lambda_parameters [(list_splat_pattern (identifier) @definition.parameter) (dictionary_splat_pattern (identifier) @definition.parameter)])
(parameters (_ name: (identifier) @definition.parameter))
(lambda_parameters (_ name: (identifier) @definition.parameter))
(default_parameter value: (identifier) @reference.plain)
(typed_default_parameter value: (identifier) @reference.plain)

(assignment left: (identifier) @definition.variable) @after
(assignment left: (_) @binding.variable) @after
(augmented_assignment left: (identifier) @reference.binding)
(named_expression name: (identifier) @definition.walrus) @after
(for_statement left: (identifier) @definition.variable)
(for_statement left: (_) @binding.variable)
(for_in_clause left: (identifier) @definition.variable)
(for_in_clause left: (_) @binding.variable)
(as_pattern alias: (as_pattern_target (identifier) @definition.variable))
(as_pattern alias: (as_pattern_target (_) @binding.variable))
(as_pattern (case_pattern) (identifier) @definition.variable)
(case_pattern (dotted_name . (identifier) @definition.variable .))
(splat_pattern (identifier) @definition.variable)
(pattern_list (identifier) @target)
(tuple_pattern (identifier) @target)
(list_pattern (identifier) @target)
(list_splat_pattern (identifier) @target)
(delete_statement (identifier) @reference.binding)

(global_statement (identifier) @pass.global)
(nonlocal_statement (identifier) @pass.nonlocal)

(import_statement name: (dotted_name . (identifier) @definition.import)) @import
(import_statement name: (dotted_name (identifier) (identifier) @skip))
(import_statement name: (aliased_import name: (dotted_name (identifier) @skip)))
(aliased_import alias: (identifier) @definition.import)
(import_from_statement module_name: (dotted_name (identifier) @skip))
(import_from_statement module_name: (relative_import (dotted_name (identifier) @skip)))
(import_from_statement module_name: (_) @module name: (dotted_name . (identifier) @definition.import)) @import
(import_from_statement module_name: (_) @module name: (aliased_import name: (dotted_name (identifier) @imported))) @import
(future_import_statement) @future
(wildcard_import) @wildcard

(attribute object: (_) @object attribute: (identifier) @member)
((attribute object: (identifier) @object attribute: (identifier) @member.self)
  (#any-of? @object "self" "cls"))
(assignment left: (attribute attribute: (identifier) @written))
(keyword_argument name: (identifier) @skip)
(call function: (_) @callee arguments: (argument_list (keyword_argument name: (identifier) @keyword)))
(keyword_pattern . (identifier) @skip)
(class_pattern (dotted_name (identifier) @reference.plain))
(comment) @text
(string (string_content) @text)
