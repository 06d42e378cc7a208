"""Tables, with captions and column headings as screen readers need them."""

from collections.abc import Iterable, Sequence

from chaos.reporting.markup import Markup, element, text

Row = Sequence[Markup]


def table(caption: str, columns: Sequence[str], rows: Iterable[Row], class_: str = "") -> Markup:
    """A table in a box that scrolls where the page is narrower. A column whose name begins with `>` has figures."""
    figures = [column.startswith(">") for column in columns]
    head = [
        element("th", text(column.removeprefix(">")), scope="col", class_="figure" if figure else None)
        for column, figure in zip(columns, figures, strict=True)
    ]
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_="figure" if figure else None)
                for cell, figure in zip(row, figures, strict=True)
            ),
        )
        for row in rows
    ]
    return element(
        "div",
        element(
            "table",
            element("caption", text(caption)),
            element("thead", element("tr", *head)),
            element("tbody", *body),
            class_=class_ or None,
        ),
        class_="scroll",
    )


def pairs(caption: str, values: Iterable[tuple[str, object]]) -> Markup:
    """A table of names and values."""
    rows = [
        element("tr", element("th", text(name), scope="row"), element("td", text(value)))
        for name, value in values
    ]
    return element(
        "div",
        element("table", element("caption", text(caption)), element("tbody", *rows), class_="pairs"),
        class_="scroll",
    )
