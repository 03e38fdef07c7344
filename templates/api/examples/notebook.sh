pip install jupyterlab requests numpy pyarrow pillow

export LAIONWEB_URL=http://127.0.0.1:8000
export LAIONWEB_TOKEN='your token'
jupyter lab docs/refine_and_export.ipynb
