"""Prints the messages of an exchange, until it is interrupted.

MO sends an event when a change is made; mo-router's output exchange has it when
the change takes effect. The queue is durable: what is sent while this program
is not running is printed when it runs again.

    pip install pika
    python consumer.py
    python consumer.py --exchange os2mo --topic 'employee.it.*' --queue my-it-users

The broker is AMQP_URL, or AMQP_HOST and AMQP_PORT: localhost and 5672 by default.
"""

import argparse
import math
import os
import signal
import socket
import sys
import time

import pika
from pika.exceptions import AMQPChannelError, AMQPConnectionError

RETRY_SECONDS = 2


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exchange", default="os2mo_delayed", help="default: %(default)s")
    parser.add_argument("--topic", default="#", help="which routing keys; default: all")
    parser.add_argument("--queue", default="os2mo-consumer", help="default: %(default)s")
    parser.add_argument(
        "--count", type=int, default=math.inf, help="stop after so many messages; default: go on"
    )
    return parser.parse_args()


def broker():
    if url := os.environ.get("AMQP_URL"):
        return pika.URLParameters(url)
    return pika.ConnectionParameters(
        host=os.environ.get("AMQP_HOST", "localhost"),
        port=int(os.environ.get("AMQP_PORT", "5672")),
    )


def print_messages(channel, args):
    """Prints messages and then acknowledges them, until args.count is used up."""
    channel.exchange_declare(args.exchange, exchange_type="topic", durable=True)
    channel.queue_declare(args.queue, durable=True)
    channel.queue_bind(args.queue, args.exchange, args.topic)
    channel.basic_qos(prefetch_count=100)
    for method, _properties, body in channel.consume(args.queue):
        print(method.routing_key, body.decode(errors="replace"), flush=True)
        channel.basic_ack(method.delivery_tag)
        args.count -= 1
        if args.count <= 0:
            return


def main():
    args = arguments()
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, lambda *_: sys.exit())
    while True:
        try:
            with pika.BlockingConnection(broker()) as connection:
                print_messages(connection.channel(), args)
                return
        except AMQPChannelError as refused:
            sys.exit(f"The broker refuses: {refused}")
        except (AMQPConnectionError, socket.gaierror) as gone:
            print(f"No broker ({gone!r}), trying again in {RETRY_SECONDS} s", file=sys.stderr)
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    main()
