"""What must hold of the templates and is not said by cfn-lint, `sam validate` or checkov.

Each check has a name, which the table of mutations refers to, and gives the problems that it finds.
"""

import check_data
import check_functions
import check_gateway
import check_permissions
import check_settings
import check_telling
from registry import CHECKS

__all__ = ["CHECKS", "check_data", "check_functions", "check_gateway", "check_permissions", "check_settings", "check_telling"]
