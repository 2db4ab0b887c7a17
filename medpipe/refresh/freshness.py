"""Which assets the UI shows as stale when nobody has refreshed them for too long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import dagster as dg

from medpipe.asset_metadata import RAW_GROUP
from medpipe.settings import Settings
from medpipe.tokens.assets import SNAPSHOT_KEY

FAIL_AFTER = 2.0
"""Times the days after which an asset is shown as stale, it is shown as overdue."""


def with_freshness(assets: Iterable[dg.AssetsDefinition], settings: Settings) -> list[dg.AssetsDefinition]:
    """Gives sources and snapshot a freshness policy; other assets stay as they are.

    A refresh that finds nothing new counts: the policy asks when somebody last looked.
    """
    days = timedelta(days=settings.refresh.stale_days)
    policy = dg.FreshnessPolicy.time_window(warn_window=days, fail_window=FAIL_AFTER * days)

    def fresh(spec: dg.AssetSpec) -> Any:
        if spec.group_name != RAW_GROUP and spec.key != SNAPSHOT_KEY:
            return spec
        return dg.apply_freshness_policy(spec, policy)

    return [asset.map_asset_specs(fresh) for asset in assets]
