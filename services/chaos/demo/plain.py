"""The run told in lines, for logs and pipes."""

from chaos.demo.figures import Figures


def line(figures: Figures) -> str:
    """Everything of the moment on one line."""
    leader = figures.leader
    leads = f"{leader.name} leads term {leader.term}" if leader is not None else "nobody leads"
    rate = figures.charges_per_s[-1] if figures.charges_per_s else 0.0
    date = f"{figures.business_now:%Y-%m-%d %H:%M}" if figures.business_now is not None else "-"
    return (
        f"{figures.elapsed_s:6.1f} s  {date}  {figures.subscribed:,}/{figures.subscribers_wanted:,} subscribers  "
        f"{figures.charged:,} charged ({rate:,.0f}/s)  {figures.due:,} due  {leads}  "
        f"{len(figures.takeovers)} leaders killed  [{figures.doing}]"
    )
