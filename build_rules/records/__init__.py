"""The nouns that rooms share: two tables, and the records that lie as files between the steps.

=====================  ===========================================