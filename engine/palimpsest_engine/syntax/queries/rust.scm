[(line_comment) (block_comment)] @comment
[(string_literal) (raw_string_literal) (char_literal)] @string
(ERROR "\"" @quote)

(use_declaration argument: [(scoped_identifier) (identifier) (crate)] @import)
(use_declaration argument: (scoped_use_list path: (_) @import))
(use_declaration argument: (use_wildcard (_) @import))
(use_declaration argument: (use_as_clause path: (_) @import))
(mod_item name: (_) @import . ";")
(extern_crate_declaration name: (_) @import)

(function_item name: (_) @name body: (_) @body) @function
(function_signature_item name: (_) @name) @type
(closure_expression body: (block) @body) @closure
(impl_item type: (_) @name body: (_) @body) @class
(trait_item name: (_) @name body: (_) @body) @class
(mod_item name: (_) @name body: (_) @body) @class
(struct_item name: (_) @name) @type
(enum_item name: (_) @name) @type
(union_item name: (_) @name) @type
(type_item name: (_) @name) @type
(macro_definition name: (_) @name) @type

((macro_invocation macro: (identifier) @_macro) @hole (#any-of? @_macro "todo" "unimplemented"))
((expression_statement (macro_invocation macro: (identifier) @_macro)) @hole
  (#any-of? @_macro "todo" "unimplemented"))
((macro_invocation macro: (identifier) @_macro) @claim (#eq? @_macro "panic"))
((expression_statement (macro_invocation macro: (identifier) @_macro)) @claim (#eq? @_macro "panic"))
