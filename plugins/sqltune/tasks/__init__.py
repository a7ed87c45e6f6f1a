"""The functions that the DAGs call, one module for each stage of the chain.

plan        plan, hosts, storages       planning    from the form to the plan
preflight   preflight, master_ip        dataset     download_dataset
evaluate    serve, ask, stop_serving    reference   reference_questions, reference_answers
gate        judge                       register    register
promote     promote; choose_version and serve_chosen of text2sql_promote
prune       prune                       mlflow      send_to_mlflow of text2sql_housekeeping
"""
