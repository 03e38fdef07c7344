"""Every setting, read from the environment; the defaults start on a laptop.

docs/configuration.md lists the variables read here; a test compares the two.
"""

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import quote

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from kombu import Queue

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def _kept_secret(path: Path) -> str:
    """A secret key that is made at first use and stays on this machine."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: an empty key would stop every later start.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(get_random_secret_key())
        os.replace(file.name, path)
    return path.read_text()


# Where the embedded defaults keep what they write.
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).resolve()

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or _kept_secret(VAR_DIR / "secret_key")
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
SERVER_THREADS = env.int("SERVER_THREADS", default=8)
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", HOST]
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

DATABASES = {
    "default": env.db(
        "DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'laionweb.sqlite3'}"
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Web threads and the ingesting thread write side by side.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        timeout=20,
        transaction_mode="IMMEDIATE",
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {"default": env.cache("CACHE_URL", default="locmemcache://")}
if CACHES["default"]["BACKEND"].endswith("LocMemCache"):
    # A search that waits for its next page takes about 90 kB.
    CACHES["default"].setdefault("OPTIONS", {}).setdefault("MAX_ENTRIES", 1_000)
    # Counters are small, and must not push searches out, nor the other way round.
    CACHES["limits"] = {
        **CACHES["default"],
        "LOCATION": "limits",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
else:
    CACHES["limits"] = CACHES["default"]

# chdb:///folder is the engine embedded in this process; clickhouse://user:password@
# host:8123/database is a server, and several of them between commas share the datasets.
EMBEDDED_ENGINE = f"chdb://{quote(str(VAR_DIR / 'clickhouse'))}"
CLICKHOUSE_URL = env.str("CLICKHOUSE_URL", default=EMBEDDED_ENGINE)
# The name that the servers' own configuration gives to a cluster.
CLICKHOUSE_CLUSTER = env.str("CLICKHOUSE_CLUSTER", default="")

# In memory: the tasks run in a thread of the one web process.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="memory://")
CELERY_BROKER_TRANSPORT_OPTIONS = (
    # Without it each task of the in-memory broker waits for up to a second.
    {"polling_interval": 0.01}
    if CELERY_BROKER_URL.startswith("memory")
    # Redis hands on what a dead worker had after this time, and looks for it every
    # 10 s, not every 100. The ledger knows much sooner, and takes no harm when the
    # message of a long import comes a second time.
    else {
        "visibility_timeout": 900,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# A worker takes from each in turn: what has arrived is not published last of all.
CELERY_TASK_QUEUES = [
    Queue(name, routing_key=name) for name in ("ingest", "publish", "export")
]
CELERY_TASK_DEFAULT_QUEUE = "ingest"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 20
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
SWEPT_EVERY_S = 15
TIDIED_EVERY_S = 3600
CELERY_BEAT_SCHEDULE = {
    "sweeper": {
        "task": "search.ingestion.tasks.recover",
        "schedule": SWEPT_EVERY_S,
        "options": {"expires": SWEPT_EVERY_S},  # else they pile up while all work
    },
    "sweeper-of-exports": {
        "task": "usercollections.exporting.recover",
        "schedule": SWEPT_EVERY_S,
        "options": {"expires": SWEPT_EVERY_S},
    },
    **{
        f"tidying-{room}": {
            "task": f"usercollections.{room}.sweep",
            "schedule": TIDIED_EVERY_S,
            "options": {"expires": TIDIED_EVERY_S},
        }
        for room in ("collecting", "refining", "exporting")
    },
}
# Nothing to be kept in a file: all of it is done every few seconds.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

# The class that turns words and pictures into embeddings.
SEARCH_ENCODER = env.str(
    "SEARCH_ENCODER", default="search.encoder.openclip.OpenClipEncoder"
)
# Where it computes and in what: auto is the first GPU and float16, or a CPU in float32.
ENCODER_DEVICE = env.str("ENCODER_DEVICE", default="auto")
ENCODER_PRECISION = env.str("ENCODER_PRECISION", default="auto")
ENCODER_MEMORY_MB = env.int("ENCODER_MEMORY_MB", default=8_000)
# Of the encode workers: how much becomes one forward pass, how much may wait for its
# turn, and how long a query waits for its embedding.
ENCODER_BATCH = env.int("ENCODER_BATCH", default=64)
ENCODER_QUEUE = env.int("ENCODER_QUEUE", default=256)
ENCODER_WAIT_S = env.float("ENCODER_WAIT_S", default=3.0)
# host:port of stores inside the own network that pictures may be fetched from.
FETCH_ALLOWED_HOSTS = env.list("FETCH_ALLOWED_HOSTS", default=[])
# Pictures of items are fetched, made small, and kept in VAR_DIR/thumbnails.
FETCH_THUMBNAILS = env.bool("FETCH_THUMBNAILS", default=True)
THUMBNAIL_CACHE_MB = env.int("THUMBNAIL_CACHE_MB", default=2048)
# Where exports are written, by workers, and taken from, by web processes; for how long.
EXPORT_DIR = Path(env.str("EXPORT_DIR", default=str(VAR_DIR / "exports"))).resolve()
EXPORT_DAYS = env.int("EXPORT_DAYS", default=7)
EXAMPLE_POSTCARDS = env.int("EXAMPLE_POSTCARDS", default=10_000)
# URLs of images that this site serves itself: paths, which no host is asked for.
LOCAL_IMAGE_URL = r"/postcards/[0-9]+\.jpg"
# Searches that the start page of a dataset proposes; without, some of its captions.
EXAMPLE_QUERIES = {
    "postcards": (
        "a red house by a lake at night",
        "boats at night",
        "rainbow over a lake",
        "black cat, moon",
        "hot air balloon in the early morning",
        "thunderstorm at the beach",
    )
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "csp",
    "search",
    "usercollections.apps.CollectionsConfig",
    "postcards",
]
MIDDLEWARE = [
    "search.observability.request_id.RequestIdMiddleware",
    "search.web.middleware.RequestTimingMiddleware",
    "search.clip_retrieval.errors.json_errors_middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "laionweb.headers.permissions_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "usercollections.account.middleware.ClosedSiteMiddleware",
    "search.web.middleware.SearchErrorMiddleware",
]
ROOT_URLCONF = "laionweb.urls"
WSGI_APPLICATION = "laionweb.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "usercollections.account.adapter.Adapter"
ACCOUNT_FORMS = {
    "login": "usercollections.account.forms.SignInForm",
    "signup": "usercollections.account.forms.SignUpForm",
    "reset_password": "usercollections.account.forms.ForgottenForm",
    "reset_password_from_key": "usercollections.account.forms.NewPasswordForm",
    "change_password": "usercollections.account.forms.ChangePasswordForm",
    "add_email": "usercollections.account.forms.ChangeEmailForm",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*"]
ACCOUNT_USERNAME_MIN_LENGTH = 2
ACCOUNT_EMAIL_VERIFICATION = env.str("ACCOUNT_EMAIL_VERIFICATION", default="optional")
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "laionweb: "
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_SESSION_REMEMBER = True
# Whoever finds an open page must not give the account another address.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
# Whether visitors may sign up; else an admin makes the accounts.
ACCOUNTS_OPEN = env.bool("ACCOUNTS_OPEN", default=True)
# Whether visitors without an account may look at anything at all.
SEARCH_ANONYMOUS = env.bool("SEARCH_ANONYMOUS", default=True)

# A first start has no mail server: mails are printed where the server runs.
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="laionweb@localhost")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# How often one account, or one visitor's address, may ask for what costs.
LIMITS = {
    "search": env.str("LIMIT_SEARCH", default="120/min"),
    "image": env.str("LIMIT_IMAGE", default="30/min"),
    "item": env.str("LIMIT_ITEM", default="600/min"),
    "thumbnail": env.str("LIMIT_THUMBNAIL", default="3000/min"),
    "export": env.str("LIMIT_EXPORT", default="30/hour"),
    "refine": env.str("LIMIT_REFINE", default="60/min"),
    "pick": "120/min",  # counting them costs little, and nobody looks at more
    "copy": "20/min",  # of collections, of up to 50,000 pictures, and of concepts
}
for _name, _rate in LIMITS.items():
    if _rate and not re.fullmatch(r"[1-9]\d*/(s|sec|m|min|h|hour)", _rate):
        raise ImproperlyConfigured(
            f"LIMIT_{_name.upper()} is a number and a time such as 120/min, not {_rate}"
        )
# allauth's way to write it: failures by address, and by account.
LIMIT_LOGIN = env.str("LIMIT_LOGIN", default="10/m/ip,5/5m/key")
ACCOUNT_RATE_LIMITS = {"login_failed": LIMIT_LOGIN} if LIMIT_LOGIN else False
# How many proxies stand in front, each of which adds to X-Forwarded-For.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
# Files are found where they lie, so that a checkout serves them without a build step.
WHITENOISE_USE_FINDERS = True

# Pages ask no other host for anything: pictures come through search.thumbnails.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True  # pages carry the token themselves

# Visitors come by https alone; with proxies in front, the nearest one says whether.
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
# Of the domain's other hosts only its owner knows whether they speak https.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = SECURE_HSTS_INCLUDE_SUBDOMAINS
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
if HTTPS and TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# A picture of 10 MB in base64, inside JSON.
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024

REST_FRAMEWORK = {
    # With Basic, guesses at passwords would come in unlimited. The session comes last:
    # the first one says how to sign in, so that refusals are 401.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "usercollections.account.tokens.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "usercollections.account.middleware.SearchPermission"
    ],
    "DEFAULT_THROTTLE_CLASSES": ["search.rate_limits.Limit"],
    "NUM_PROXIES": TRUSTED_PROXIES,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "search.api.errors.api_exception_handler",
    "DEFAULT_SCHEMA_CLASS": "search.api.schema.ApiSchema",
    # A parameter of a search could not be named so.
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "laionweb",
    "DESCRIPTION": "Search and curate image–caption datasets. What is refused is told "
    "in JSON; of methods that an address does not know, by 405 and the header Allow.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/",
    # Bodies are told apart from answers: what is left out, what is blank, what is new.
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["search.api.schema.postprocess_schema"],
    "GET_LIB_DOC_EXCLUDES": "search.api.schema.exclude_from_docs",
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# Addresses and networks that may read /metrics, besides staff.
METRICS_ALLOWED = env.list("METRICS_ALLOWED", default=[])

# Libraries speak up when something is wrong; our own rooms as loud as LOG_LEVEL says.
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT = env.str("LOG_FORMAT", default="line")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "{asctime} {levelname} {name} {request}: {message}",
            "style": "{",
        },
        "json": {"()": "search.observability.request_id.JsonFormatter"},
    },
    "filters": {"request": {"()": "search.observability.request_id.RequestIdFilter"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["request"],
        }
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        name: {"level": LOG_LEVEL}
        for name in ("laionweb", "search", "usercollections", "postcards")
    },
}
