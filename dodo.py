from build_rules.dodo import *
