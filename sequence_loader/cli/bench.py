"""``bench``: what is fastest for a store on this machine."""

from __future__ import annotations

import argparse

from sequence_loader.cli.command import Subparsers, add_command, add_no_progress


def add_bench(commands: Subparsers) -> None:
    """Describes ``bench``."""
    parser = add_command(
        commands,
        "bench",
        "measure a store on this machine, and advise lines to paste",
        "Reads the store in each order, output and batch size, with workers and "
        "without, from memory (warm) and from the disk (cold: its pages are dropped, "
        "which takes no rights), and lets the fastest take turns. With --model, `fit` "
        "is what counts, beside the feed alone and the model alone. Orders are "
        "compared by the label entropy of their batches, and those that mix worse "
        "than a uniform order are not advised. What is equally fast is a tie: the "
        "simpler is advised. Where steps of the model are slow, fewer settings take "
        "turns, and it says so. Ctrl-C prints what there is.",
        "bench train.store",
        "bench train.store --model model.keras --batch-size 128",
        "bench 'parts/*.store' --seconds 30 --json",
    )
    parser.add_argument("stores", nargs="+", metavar="STORE")
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="a compiled model, as model.save wrote it: it is trained, and not saved",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="the only batch size to try, since it changes what is learned",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=80.0,
        metavar="N",
        help="how long it may take, about (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not tables")
    parser.add_argument(
        "--chart", metavar="FILE", help="write a bar chart, a .png (extra: plot)"
    )
    add_no_progress(parser)
    parser.set_defaults(run=run_bench)


def run_bench(args: argparse.Namespace) -> int:
    """Runs ``bench``."""
    import json

    from sequence_loader.backends.quiet import quiet_tensorflow
    from sequence_loader.bench.beginning import unopened_results
    from sequence_loader.bench.report import require_matplotlib, show, write_chart
    from sequence_loader.progress import progress_bar

    if args.chart:
        require_matplotlib()  # before two minutes are spent
    results, interrupted = unopened_results(args.stores), False
    try:
        with quiet_tensorflow():
            from sequence_loader.backends.which_keras import import_keras
            from sequence_loader.bench.measure import Bench

            import_keras()
        bench = Bench(
            args.stores,
            model=args.model,
            seconds=args.seconds,
            batch_size=args.batch_size,
        )
        results = bench.results
        steps = bench.steps
        with progress_bar("bench", steps, "runs", shown=args.progress) as advance:
            bench.run(advance)
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:  # an error in the middle of it as well
        if results.axes or results.complete or interrupted:
            if args.json:
                print(json.dumps(results.as_json(), indent=2))
            else:
                show(results)
            if args.chart and results.axes:
                write_chart(results, args.chart)
    return 0
