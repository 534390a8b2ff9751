; prose is what a Markdown document is made of: nothing in it is a comment
