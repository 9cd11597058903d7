"""The checks of the templates beyond those of cfn-lint, `sam validate` and checkov.

Each check has a name, to which the table of mutations refers, and yields the problems that it finds.
"""

import check_alarms
import check_data
import check_deploy_role
import check_functions
import check_gateway
import check_permissions
import check_settings
import check_shift
from registry import CHECKS

__all__ = ["CHECKS", "check_alarms", "check_data", "check_deploy_role", "check_functions", "check_gateway", "check_permissions", "check_settings", "check_shift"]
