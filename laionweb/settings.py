"""All settings, from the environment; the defaults run on a laptop.

docs/configuration.md lists the variables; a test compares the two.
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


def _stored_secret(path: Path) -> str:
    """Return the secret key of this machine, which is created at first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Replaced as a whole: an empty file would prevent every later start.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(get_random_secret_key())
        os.replace(file.name, path)
    return path.read_text()


# The folder for everything that the embedded defaults write.
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).resolve()

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or _stored_secret(VAR_DIR / "secret_key")
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
    # Web threads and the worker thread write at the same time.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        timeout=20,
        transaction_mode="IMMEDIATE",
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    )
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 3)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {"default": env.cache("CACHE_URL", default="locmemcache://")}
if CACHES["default"]["BACKEND"].endswith("LocMemCache"):
    # The candidates of a search, cached for its next pages, take 10 to 100 kB.
    CACHES["default"].setdefault("OPTIONS", {}).setdefault("MAX_ENTRIES", 1_000)
    # Separate, so that counters and searches do not evict each other.
    CACHES["limits"] = {
        **CACHES["default"],
        "LOCATION": "limits",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
else:
    if CACHES["default"]["BACKEND"].endswith("RedisCache"):
        # A cache that hangs must not hold requests: they do without it.
        CACHES["default"]["OPTIONS"] = {
            "socket_timeout": 1,
            "socket_connect_timeout": 1,
            **CACHES["default"].get("OPTIONS", {}),
        }
    CACHES["limits"] = CACHES["default"]
# Counts where the shared one is away, by each process for itself.
CACHES["own-limits"] = {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    "LOCATION": "own-limits",
    "OPTIONS": {"MAX_ENTRIES": 100_000},
}

# chdb:///folder is the engine embedded in this process; clickhouse://user:password@
# host:8123/database is a server. Several, separated by commas, are a cluster's shards.
EMBEDDED_ENGINE = f"chdb://{quote(str(VAR_DIR / 'clickhouse'))}"
CLICKHOUSE_URL = env.str("CLICKHOUSE_URL", default=EMBEDDED_ENGINE)
# The cluster's name in the configuration of the servers.
CLICKHOUSE_CLUSTER = env.str("CLICKHOUSE_CLUSTER", default="")

# In memory, tasks run in a thread of the one web process.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="memory://")
CELERY_BROKER_TRANSPORT_OPTIONS = (
    # By default each task of the in-memory broker waits for up to a second.
    {"polling_interval": 0.01}
    if CELERY_BROKER_URL.startswith("memory")
    # After this time Redis redelivers the messages of a dead worker; it checks every
    # 10 s instead of every 100. The ledger detects dead workers much sooner, and a
    # second delivery of a running import does no harm.
    else {
        "visibility_timeout": 900,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# A worker serves them in turn, so that imported shards are published meanwhile.
CELERY_TASK_QUEUES = [
    Queue(name, routing_key=name) for name in ("ingest", "publish", "export")
]
CELERY_TASK_DEFAULT_QUEUE = "ingest"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 20
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
RECOVERY_INTERVAL_S = 15
CLEANUP_INTERVAL_S = 3600
CELERY_BEAT_SCHEDULE = {
    "sweeper": {
        "task": "search.ingestion.tasks.recover",
        "schedule": RECOVERY_INTERVAL_S,
        "options": {"expires": RECOVERY_INTERVAL_S},  # else they pile up
    },
    "sweeper-of-exports": {
        "task": "usercollections.exporting.recover",
        "schedule": RECOVERY_INTERVAL_S,
        "options": {"expires": RECOVERY_INTERVAL_S},
    },
    "tidying-uploads": {
        "task": "search.ingestion.tasks.sweep_uploads",
        "schedule": CLEANUP_INTERVAL_S,
        "options": {"expires": CLEANUP_INTERVAL_S},
    },
    **{
        f"tidying-{room}": {
            "task": f"usercollections.{room}.sweep",
            "schedule": CLEANUP_INTERVAL_S,
            "options": {"expires": CLEANUP_INTERVAL_S},
        }
        for room in ("collecting", "refining", "exporting")
    },
}
# Without a file of last runs, because all intervals are short.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

# How long a search may take, with all its steps.
SEARCH_TIMEOUT_S = env.float("SEARCH_TIMEOUT_S", default=10.0)
# The class that embeds texts and images.
SEARCH_ENCODER = env.str(
    "SEARCH_ENCODER", default="search.encoder.openclip.OpenClipEncoder"
)
# Its device and precision: auto is the first GPU in float16, or the CPU in float32.
ENCODER_DEVICE = env.str("ENCODER_DEVICE", default="auto")
ENCODER_PRECISION = env.str("ENCODER_PRECISION", default="auto")
ENCODER_MEMORY_MB = env.int("ENCODER_MEMORY_MB", default=8_000)
# Encode workers: the maximum batch, the maximum length of their queue, and how long a
# query waits for its embedding.
ENCODER_BATCH = env.int("ENCODER_BATCH", default=64)
ENCODER_QUEUE = env.int("ENCODER_QUEUE", default=256)
ENCODER_WAIT_S = env.float("ENCODER_WAIT_S", default=3.0)
# host:port of stores in the server's network from which images may be fetched.
FETCH_ALLOWED_HOSTS = env.list("FETCH_ALLOWED_HOSTS", default=[])
# host or host:port of servers in the own network from which shards may be fetched.
SOURCE_ALLOWED_HOSTS = env.list("SOURCE_ALLOWED_HOSTS", default=[])
# Folders from which datasets may be imported by people who choose a source on a page
# or over the API. On a laptop, where one process does all, those of its user.
_HOME = os.path.expanduser("~")
_IS_LAPTOP = CELERY_BROKER_URL.startswith("memory") and _HOME not in ("~", "/")
INGEST_FOLDERS = env.list(
    "INGEST_FOLDERS",
    default=[str(VAR_DIR / "incoming"), *([_HOME] if _IS_LAPTOP else [])],
)
# Files that staff uploads as sources: web processes write them here, workers read them.
UPLOAD_DIR = Path(env.str("UPLOAD_DIR", default=str(VAR_DIR / "uploads"))).resolve()
# Thumbnails of items are fetched and cached in VAR_DIR/thumbnails.
FETCH_THUMBNAILS = env.bool("FETCH_THUMBNAILS", default=True)
THUMBNAIL_CACHE_MB = env.int("THUMBNAIL_CACHE_MB", default=2048)
# Workers write exports here, web processes serve them; they are deleted after days.
EXPORT_DIR = Path(env.str("EXPORT_DIR", default=str(VAR_DIR / "exports"))).resolve()
EXPORT_DAYS = env.int("EXPORT_DAYS", default=7)
# A location of nginx under which it serves EXPORT_DIR where X-Accel-Redirect says so.
EXPORT_ACCEL = env.str("EXPORT_ACCEL", default="")
EXAMPLE_POSTCARDS = env.int("EXAMPLE_POSTCARDS", default=10_000)
# URLs of images that this site serves itself: paths, so that nothing is fetched.
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
    "search.web.middleware.head_middleware",
    "search.observability.request_id.RequestIdMiddleware",
    "search.web.middleware.RequestTimingMiddleware",
    "search.web.middleware.deadline_middleware",
    "search.clip_retrieval.errors.json_errors_middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "search.web.middleware.CompressPagesMiddleware",
    "csp.middleware.CSPMiddleware",
    "laionweb.headers.permissions_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "search.web.middleware.BodyLimitMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "usercollections.account.middleware.ClosedSiteMiddleware",
    "search.web.page_limits.PageLimitMiddleware",
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
                "search.web.notices.import_notices",
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
# The name of the admin whom the first start creates; "admin-" and a number without it.
ADMIN_NAME = env.str("ADMIN_NAME", default="")
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
# Someone at an unattended session must not change the account's address.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
# Whether visitors may sign up; otherwise admins create accounts.
ACCOUNTS_OPEN = env.bool("ACCOUNTS_OPEN", default=True)
# Whether visitors without an account may use the site.
SEARCH_ANONYMOUS = env.bool("SEARCH_ANONYMOUS", default=True)

# Without a mail server, mails are printed to the console.
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="laionweb@localhost")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# Rate limits of costly requests, per account or per visitor's address.
LIMITS = {
    "search": env.str("LIMIT_SEARCH", default="120/min"),
    "image": env.str("LIMIT_IMAGE", default="30/min"),
    "item": env.str("LIMIT_ITEM", default="600/min"),
    "thumbnail": env.str("LIMIT_THUMBNAIL", default="3000/min"),
    "export": env.str("LIMIT_EXPORT", default="30/hour"),
    "refine": env.str("LIMIT_REFINE", default="60/min"),
    "page": env.str("LIMIT_PAGE", default="600/min"),
    "drawing": env.str("LIMIT_DRAWING", default="240/min"),
    "pick": "120/min",  # cheap, but nobody opens more
    # Of thumbnails, also those that are there already: a page has a hundred.
    "lookup": "12000/min",
    "copy": "20/min",  # of collections with up to 50,000 items, and of concepts
}
for _name, _rate in LIMITS.items():
    if _rate and not re.fullmatch(r"[1-9]\d*/(s|sec|m|min|h|hour)", _rate):
        raise ImproperlyConfigured(
            f"LIMIT_{_name.upper()} is a number and a time such as 120/min, not {_rate}"
        )
# In allauth's syntax: failures per address, and per account and address. A browser in
# which somebody signed in to the account before has a count of its own.
LIMIT_LOGIN = env.str("LIMIT_LOGIN", default="10/m/ip,5/5m/key")
ACCOUNT_RATE_LIMITS = {"login_failed": LIMIT_LOGIN} if LIMIT_LOGIN else False
# The number of proxies in front that append to X-Forwarded-For.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
# Serve the source files, so that a checkout needs no collectstatic.
WHITENOISE_USE_FINDERS = True

# Pages load nothing from other hosts: images come through search.thumbnails.
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
CSRF_COOKIE_HTTPONLY = True  # pages contain the token

# Serve https only; behind proxies, the nearest one reports the scheme.
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
# Only the domain's owner knows whether its other hosts use https.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = SECURE_HSTS_INCLUDE_SUBDOMAINS
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
if HTTPS and TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# An image of 10 MB in base64, in JSON; search.request_bodies has smaller limits.
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024

REST_FRAMEWORK = {
    # No Basic authentication, which would allow unlimited guesses at passwords. The
    # session is last, because the first class makes refusals 401.
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
    "DEFAULT_PARSER_CLASSES": ["search.request_bodies.BoundedJSONParser"],
    "EXCEPTION_HANDLER": "search.api.errors.api_exception_handler",
    "DEFAULT_SCHEMA_CLASS": "search.api.schema.ApiSchema",
    # DRF's parameter `format` would shadow one of a search.
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "laionweb",
    "DESCRIPTION": (
        "Search and curate image–caption datasets. Errors are JSON; unsupported "
        "methods get 405 with the header Allow."
    ),
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/",
    # Requests differ from responses in optional, blank and read-only fields.
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["search.api.schema.postprocess_schema"],
    "GET_LIB_DOC_EXCLUDES": "search.api.schema.exclude_from_docs",
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# Addresses and networks that may read /metrics, in addition to staff.
METRICS_ALLOWED = env.list("METRICS_ALLOWED", default=[])

# LOG_LEVEL applies to our own packages; libraries log warnings and errors.
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
    "filters": {
        "request": {"()": "search.observability.request_id.RequestIdFilter"},
        "refusals": {"()": "search.observability.request_id.RefusalFilter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["request"],
        }
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        **{
            name: {"level": LOG_LEVEL}
            for name in ("laionweb", "search", "usercollections", "postcards")
        },
        # Refusals are counted in /metrics: a flood must not fill the log.
        "django.request": {"filters": ["refusals"]},
        "waitress.queue": {"level": "ERROR"},
    },
}
