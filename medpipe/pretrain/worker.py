"""The trainer process: `python -m medpipe.pretrain.worker --lake … --plan … --snapshot … --stage …`.

Exit status: 0 the stage is complete (trained now or reused), 75 stopped by a signal with a checkpoint
saved, 1 an error that is named, 2 a usage error.
"""

from __future__ import annotations

from medpipe.pretrain.stop import StopRequest


def main(arguments: list[str] | None = None) -> int:
    """Trains one stage; see the module's text for the exit status."""
    # Before the imports, which take seconds: an interrupt that meets one may be lost in it.
    stop = StopRequest()
    stop.install()
    from medpipe.pretrain.stage_process import train_stage

    return train_stage(arguments, stop)


if __name__ == "__main__":
    raise SystemExit(main())
