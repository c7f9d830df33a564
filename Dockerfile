# The page on ONNX Runtime, run by a user without rights:
#   docker build --tag mobilesam .
#   docker run --rm --publish 127.0.0.1:7860:7860 mobilesam
FROM python:3.12-slim-bookworm

RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home mobilesam
USER mobilesam
WORKDIR /home/mobilesam/mobilesam
COPY --chown=mobilesam . .

RUN python3 -m venv .venv
RUN .venv/bin/pip install --no-cache-dir ".[webui]"
RUN .venv/bin/mobilesam weights fetch

# The server cannot know the names by which its published port is reached. It accepts localhost, IP addresses and these.
ENV MOBILESAM_ALLOW_HOST=localhost
EXPOSE 7860
HEALTHCHECK CMD [".venv/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/health')"]
CMD [".venv/bin/mobilesam", "webui", "--host", "0.0.0.0"]
