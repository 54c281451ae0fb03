"""A stand-in for S3 in this process: it can be switched off, be silent, and come back unchanged."""

import json
import logging
import socket

import boto3
from moto import settings
from moto.core.responses import ActionAuthenticatorMixin
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

# A line for each request is too much.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

REGION = "us-east-1"
# moto's only one.
ACCOUNT = "123456789012"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Bucket:
    """One bucket, and one account that may store, read and delete below one prefix of it."""

    def __init__(self, name, prefix):
        self.name, self.prefix, self.port = name, prefix, free_port()
        self.server = self.silence = None
        self.on()
        self.s3, self.iam = self._client("s3"), self._client("iam")
        self.s3.create_bucket(Bucket=name)
        self.iam.create_user(UserName="roost")
        self.key = self.iam.create_access_key(UserName="roost")["AccessKey"]
        self.permit(True)

    def _client(self, service):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="owner",
            aws_secret_access_key="owner",
        )

    @staticmethod
    def _check_signatures(wanted):
        """Whether nobody gets in without a signature and a permission."""
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if wanted else float("inf")
        ActionAuthenticatorMixin.request_count = 0

    def environment(self, **changes):
        """What Roost is told of the bucket."""
        told = {
            "ROOST_MEDIA_URL": f"s3://{self.name}/{self.prefix}",
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": self.key["SecretAccessKey"],
        }
        return told | changes

    def keys(self):
        """The names of all objects, looked up behind the server's back."""
        return sorted(s3_backends[ACCOUNT]["aws"].buckets[self.name].keys.keys())

    def s3_object(self, key):
        """The content of one object, likewise."""
        return s3_backends[ACCOUNT]["aws"].buckets[self.name].keys[key].value

    def permit(self, permitted):
        """Lets the account in, or shuts it out."""
        self._check_signatures(False)
        if permitted:
            # One of them does not exist, so that its absence is what is complained about.
            buckets = self.name, f"{self.name}-absent"
            allowed = {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"],
                "Resource": [f"arn:aws:s3:::{name}/{self.prefix}/*" for name in buckets],
            }
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            self.iam.put_user_policy(UserName="roost", PolicyName="photos", PolicyDocument=policy)
        else:
            self.iam.delete_user_policy(UserName="roost", PolicyName="photos")
        self._check_signatures(True)

    def on(self):
        if self.silence:
            self.silence.close()
            self.silence = None
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()

    def off(self):
        """Connections are refused; what is stored stays."""
        self.server.stop()
        self.server = None

    def fall_silent(self):
        """Connections are taken and nothing is answered."""
        self.off()
        self.silence = socket.socket()
        self.silence.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.silence.bind(("127.0.0.1", self.port))
        self.silence.listen(128)
