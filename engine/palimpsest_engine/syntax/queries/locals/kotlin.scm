[(function_declaration) (lambda_literal) (anonymous_function) (secondary_constructor) (getter) (setter)] @scope.function
[(block) (for_statement) (catch_block) (when_expression) (class_body) (class_declaration)] @scope

(identifier) @reference
(import) @unsure
(package_header) @unsure
(annotation) @unsure
(callable_reference) @unsure
(class_parameter . (identifier) @unsure)
(class_body (property_declaration (variable_declaration (identifier) @unsure)))
(user_type (identifier) @skip)
(navigation_expression (_) (identifier) @skip)
(value_argument . (identifier) @skip . "=")
(infix_expression (_) . (identifier) @skip . (_))
(function_declaration name: (identifier) @skip)
(function_value_parameters (parameter . (identifier) @definition.parameter))
(variable_declaration . (identifier) @definition.variable)
(catch_block . (identifier) @definition.variable)
[(line_comment) (block_comment)] @text
