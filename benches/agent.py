"""What mo-delay-agent does, as far as its speed is concerned.

It takes one message, inserts it, commits, and acknowledges it; and it takes the
hundred that are due first, publishes them without confirms, deletes each, and
commits. Its pauses of two seconds between looking are left out.

usage: agent.py prepare|accept|release AMQP_URL DATABASE FROM_EXCHANGE TO_EXCHANGE COUNT
Prints the seconds that the step took.
"""
import json
import sys
import time
import urllib.parse

import pika
import psycopg2

QUEUE = "mo-delay-agent"


def prepare(channel, database, source, target, count):
    channel.queue_declare(QUEUE)
    channel.queue_bind(QUEUE, source, "#")
    with database, database.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE messages (id serial PRIMARY KEY, message text, topic text, produce_at timestamptz)"
        )


def accept(channel, database, source, target, count):
    for number, (method, _, body) in enumerate(channel.consume(QUEUE), 1):
        with database, database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO messages (message, topic, produce_at) VALUES (%s, %s, %s)",
                (body.decode(), method.routing_key, json.loads(body)["time"]),
            )
        channel.basic_ack(method.delivery_tag)
        if number == count:
            return


def release(channel, database, source, target, count):
    while count > 0:
        with database, database.cursor() as cursor:
            cursor.execute(
                "SELECT id, message, topic FROM messages WHERE produce_at < '2200-01-01'"
                " ORDER BY produce_at LIMIT 100"
            )
            for number, message, topic in cursor.fetchall():
                channel.basic_publish(target, topic, message)
                cursor.execute("DELETE FROM messages WHERE id = %s", (number,))
                count -= 1


def main(step, amqp, url, source, target, count):
    channel = pika.BlockingConnection(pika.URLParameters(amqp)).channel()
    parts = urllib.parse.urlsplit(url)
    database = psycopg2.connect(
        host=urllib.parse.unquote(parts.netloc.split("@")[1]),
        user="postgres",
        dbname=parts.path[1:],
    )
    start = time.monotonic()
    {"prepare": prepare, "accept": accept, "release": release}[step](
        channel, database, source, target, int(count)
    )
    print(time.monotonic() - start)


main(*sys.argv[1:])
